"""What is kept of scans: unpacked files on disk, decoded chunks in memory."""
