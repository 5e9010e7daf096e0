"""What is told to other systems: messages wait in the database until their target has taken them."""
