"""What sites have learned on data of their own, put together."""
