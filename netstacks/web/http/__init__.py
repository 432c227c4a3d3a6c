"""What requests and answers have in common: input models, output formats, cookies, CSP, proxies."""
