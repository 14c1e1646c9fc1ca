"""attn in a notebook or a training loop; ``attn_cli`` itself exports what is public of it."""
