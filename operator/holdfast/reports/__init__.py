"""The operator's endpoint for sidecars: its certificates, who may report, what was reported, and the commands back."""
