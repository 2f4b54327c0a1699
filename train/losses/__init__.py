"""Loss terms and the networks behind them."""
