"""The project's two images: `holdfast` (operator and sidecar) and `holdfast-trainer` (the examples)."""
