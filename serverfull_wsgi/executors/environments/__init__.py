"""What runs functions apart: environments, the processes in them, and the Runtime API they ask for work."""
