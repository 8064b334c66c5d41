"""Evaluation: region and boundary metrics, a simulated annotator, tracking from a first frame."""
