"""Where a call was made: its module, its step, the line of the program."""
