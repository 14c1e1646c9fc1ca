"""Catches the attention calls that a program makes, without changing what it computes."""
