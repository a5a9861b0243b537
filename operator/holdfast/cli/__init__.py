"""The `holdfast` command: what runs, what it waits for, and where its checkpoints are."""
