"""What a process runs on: devices, the compiler, memory, and tensors made of pictures."""
