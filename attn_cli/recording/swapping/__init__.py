"""Functions in whose place others stand while attn listens. This file is free of torch."""
