"""What is measured: complexity, latency, and the quality of finished pictures."""
