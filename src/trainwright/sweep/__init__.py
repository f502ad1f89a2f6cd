"""Many runs: plan them, run them, remember them, compare them."""
