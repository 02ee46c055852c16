// Command shop is the application of this example: a web service that says which version it is.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// revision is the commit that the binary was built from; the build sets it.
var revision = "unknown"

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// run serves until Kubernetes asks it to end, and then lets requests finish.
func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	server := &http.Server{
		Addr:              address(os.Getenv("PORT")),
		Handler:           handler(revision),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("revision %s listens on %s", revision, server.Addr)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// address is where to listen: port 8080 unless told otherwise.
func address(port string) string {
	if port == "" {
		port = "8080"
	}
	return ":" + port
}
