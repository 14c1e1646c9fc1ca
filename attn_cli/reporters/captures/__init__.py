"""What ``attn record`` keeps of a program: written call by call while it runs, and given its name when it is over."""
