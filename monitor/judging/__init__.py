"""One deployment, bucket by bucket: windows, the price of each test, and the tests that remember."""
