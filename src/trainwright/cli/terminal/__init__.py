"""What a person reads in the terminal: tables, help, failures."""
