"""The rules of ``attn check``, one file each."""
