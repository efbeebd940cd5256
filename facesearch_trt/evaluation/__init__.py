"""How well faces were found and people told apart, against a truth that was made by hand or is known."""
