package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/auth"
)

// tokenLife is how long a token is good for unless something else is said.
const tokenLife = 90 * 24 * time.Hour

// tokenOrder is what the flags of `server token` ask for.
type tokenOrder struct {
	auth.Order

	file string // to which the line is added; "" to print it
}

// makeToken makes a token of the API, and prints it. It is the only time that
// anybody sees it.
func makeToken(args []string, stdout, stderr io.Writer) int {
	order, err := parseTokenOrder(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "server token:", err)
		return exitUsage
	}
	if err := order.carryOut(stdout, stderr); err != nil {
		_, _ = fmt.Fprintln(stderr, "server token:", err)
		return exitFailed
	}
	return exitOK
}

func parseTokenOrder(args []string, stderr io.Writer) (order tokenOrder, err error) {
	flags := flag.NewFlagSet("server token", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&order.Name, "name", "", "what people will call the token, such as the program that will have it")
	scopes := flags.String("scopes", "", "what it is good for: contacts:read, contacts:write, campaigns:read, campaigns:send or admin, by commas")
	flags.DurationVar(&order.For, "expires", tokenLife, "how long it is good for; 0 for ever")
	flags.StringVar(&order.file, "file", "", "the file of API_TOKENS_FILE, to which its line is added; made where there is none")
	if err := flags.Parse(args); err != nil {
		return order, err
	}
	if flags.NArg() > 0 {
		return order, fmt.Errorf("there is nothing to do with %q", flags.Arg(0))
	}
	if missing := missingFlags(flags, "name", "scopes"); len(missing) > 0 {
		return order, fmt.Errorf("needed: %s; `server token -h` says what they are", strings.Join(missing, ", "))
	}
	if order.Scopes, err = auth.ParseScopes(*scopes); err != nil {
		return order, fmt.Errorf("-scopes: %w", err)
	}
	return order, nil
}

// missingFlags gives those of the flags that have no value.
func missingFlags(flags *flag.FlagSet, names ...string) (missing []string) {
	for _, name := range names {
		if flags.Lookup(name).Value.String() == "" {
			missing = append(missing, "-"+name)
		}
	}
	return missing
}

// carryOut stores the line before it shows the token, so that nobody is given
// one that is stored nowhere.
func (o tokenOrder) carryOut(stdout, stderr io.Writer) error {
	token, line, err := auth.Mint(o.Order, time.Now())
	if err != nil {
		return err
	}
	if o.file == "" {
		_, _ = fmt.Fprintln(stderr, "The first line is the token, which is shown this once. The second line is what the service needs of it:\n"+
			"add it to the file of API_TOKENS_FILE, or to the secret of API_TOKENS_REF.")
		_, err = fmt.Fprintf(stdout, "%s\n%s", token, line)
		return err
	}
	if err := auth.Append(o.file, line); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stderr, "Its line is in %s. The token is shown this once:\n", o.file)
	_, err = fmt.Fprintln(stdout, token)
	return err
}
