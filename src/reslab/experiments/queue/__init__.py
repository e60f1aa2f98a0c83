"""Many runs: in this process, in processes of their own, or on Ray; each is begun, stopped and resumed by `execute`."""
