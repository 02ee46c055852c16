module gitlab.example/acme/shop

go 1.25
