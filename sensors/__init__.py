"""What wakes a job: new data, measurements, hand-edited aliases, failures."""
