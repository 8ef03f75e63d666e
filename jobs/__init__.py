"""What runs, and when: jobs and schedules."""
