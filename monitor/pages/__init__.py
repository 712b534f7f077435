"""Self-contained HTML pages: charts as inline SVG, light and dark, nothing loaded from anywhere."""
