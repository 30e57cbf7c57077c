"""Drawing tools side by side: what recording and drawing cost, measured and saved for the book."""
