"""How good generated examples are: formulas from features to figures. Imports none of ours."""
