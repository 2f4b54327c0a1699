"""Mixes of styles: the mean of their weights, with what averaging takes from the contrast given back."""
