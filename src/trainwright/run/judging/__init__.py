"""The feature network of the score: trained once on the data at hand, kept, and made a judge of."""
