"""A call's mask in the smallest form that says exactly the same."""
