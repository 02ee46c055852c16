// Command argocd is the part of Argo CD that the lab runs, in one binary. As with Argo CD's own, the
// environment variable ARGOCD_BINARY_NAME, else the name that it is called by, says which part runs.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	gitaskpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/log"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func main() {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))

	part := filepath.Base(os.Args[0])
	if named := os.Getenv("ARGOCD_BINARY_NAME"); named != "" {
		part = named
	}
	var command *cobra.Command
	switch part {
	case "argocd-application-controller":
		command = controller.NewCommand()
	case "argocd-repo-server":
		command = reposerver.NewCommand()
	case "argocd-git-ask-pass":
		command = gitaskpass.NewCommand()
	default:
		fmt.Fprintf(os.Stderr, "argocd: there is no part %q; set ARGOCD_BINARY_NAME to "+
			"argocd-application-controller, argocd-repo-server or argocd-git-ask-pass\n", part)
		os.Exit(2)
	}
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}
