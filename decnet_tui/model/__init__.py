"""What is known, as plain data: reducers, rows and the words for them. Knows no terminal and no framework."""
