"""The session's room: what a person said, what the model answered, and how to take it back."""
