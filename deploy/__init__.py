"""What runs around the operator: the local clusters, the images and the manifests that put them up."""
