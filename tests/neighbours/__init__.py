"""Real packages that live in a session beside llmwatch: each works as it does bare."""
