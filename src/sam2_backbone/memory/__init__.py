"""What is remembered of each object, and which of it is recalled for a frame."""
