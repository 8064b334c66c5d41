"""Training of the embedded model and fine-tuning: data, made clips, simulated annotator, loop."""
