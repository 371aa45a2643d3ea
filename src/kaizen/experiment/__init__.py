"""Compare a challenger with the champion so that the answer stays valid under peeking."""
