"""What is computed: tensors in, tensors out; no frame, object id, pixel or device choice."""
