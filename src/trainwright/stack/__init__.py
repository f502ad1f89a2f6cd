"""Several small runs trained as one program: each is an ordinary run, they share their steps."""
