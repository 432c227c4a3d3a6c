"""`make run`: a complete controller to try out, with a database and a network device of its own."""
