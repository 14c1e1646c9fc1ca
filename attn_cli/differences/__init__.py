"""Two attention calls side by side: tensors, outputs and weights, head by head."""
