"""A run: put together, trained, stopped, resumed and finished."""
