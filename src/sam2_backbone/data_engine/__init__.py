"""Annotated videos as they are exchanged; needs no network and knows no window."""
