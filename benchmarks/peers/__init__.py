"""The sides of the comparison, one file each, written as their own documentation has it."""
