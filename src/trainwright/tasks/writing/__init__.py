"""How a text is written: token by token, drawn from what a network says may come next."""
