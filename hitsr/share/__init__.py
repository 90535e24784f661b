"""Hand networks to others, and take what others released."""
