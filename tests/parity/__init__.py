"""The reference implementation beside ours, on the same random weights."""
