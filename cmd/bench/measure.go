package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"postern/internal/client"
	"postern/internal/store/dynamo/dynamotest"
)

// finer is how many more rounds there are where a turn takes a second: the
// finer contenders alternate, the less what else the machine does distorts
// their ratios.
const finer = 2

// loops are the contenders that are processes of this program.
var loops = []kind{kindLane, kindSession, kindSMTP, kindSimpleMail}

// mailer has the contenders take turns at each of the works.
func (s *suite) mailer(ctx context.Context) error {
	for _, w := range s.works {
		octets, err := messageSize(w.Attachment)
		if err != nil {
			return err
		}
		n, err := s.postfix.calibrate(ctx, s.relayFor(w), w, octets, s.span)
		if err != nil {
			return err
		}
		for range finer * s.rounds {
			if err := s.mailerRound(ctx, w, n, octets); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) relayFor(w work) string {
	if w.Delayed {
		return s.slow
	}
	return s.sink
}

func (s *suite) mailerRound(ctx context.Context, w work, n, octets int) error {
	done, err := s.postfix.send(ctx, s.relayFor(w), w.Connections, n, octets)
	if err != nil {
		return err
	}
	s.note(w, smtpSource, done)
	for _, k := range loops {
		done, err := compete(ctx, s.specOf(w, k))
		if err != nil {
			return err
		}
		s.note(w, string(k), done)
	}
	return nil
}

func (s *suite) specOf(w work, k kind) spec {
	one := spec{Kind: k, Addr: s.relayFor(w), Connections: w.Connections, Attachment: w.Attachment, For: s.span}
	if w.Part == partTLS {
		one.Addr, one.TLS, one.Authority = s.tls.Addr, true, s.tls.Authority
	}
	return one
}

// overTLS compares the loops only: smtp-source speaks no TLS.
func (s *suite) overTLS(ctx context.Context) error {
	w := work{Part: partTLS, Connections: 8}
	for range finer * s.rounds {
		for _, k := range loops {
			done, err := compete(ctx, s.specOf(w, k))
			if err != nil {
				return err
			}
			s.note(w, string(k), done)
		}
	}
	return nil
}

// storeDir is where the embedded store with so many contacts is.
func (s *suite) storeDir(contacts int) string {
	return filepath.Join(s.dir, fmt.Sprintf("contacts-%d", contacts))
}

// embedded is the environment of a service on that store.
func (s *suite) embedded(contacts int) map[string]string {
	env := environment(s.sink, most)
	env["DATA_DIR"] = s.storeDir(contacts)
	return env
}

// with starts a service and stops it when the work is done.
func (s *suite) with(ctx context.Context, env map[string]string, do func(*server) error) (err error) {
	running, err := startServer(ctx, exec.CommandContext(ctx, s.server), env) //nolint:gosec // G204: built by this run
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.stop()) }()
	return do(running)
}

// fill makes an embedded store with so many contacts, once.
func (s *suite) fill(ctx context.Context, contacts int) error {
	if s.filled[contacts] {
		return nil
	}
	s.filled[contacts] = true
	s.say("Importing %d contacts", contacts)
	return s.with(ctx, s.embedded(contacts), func(running *server) error { return running.importContacts(ctx, contacts) })
}

// campaigns has smtp-source and campaigns of each size take turns. Each
// campaign is a new process's.
func (s *suite) campaigns(ctx context.Context) error {
	for _, n := range s.contacts {
		if err := s.fill(ctx, n); err != nil {
			return err
		}
	}
	for range s.rounds {
		if err := s.campaignRound(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) campaignRound(ctx context.Context) error {
	took, err := syncTime(s.dir)
	if err != nil {
		return err
	}
	s.results.Syncs = append(s.results.Syncs, took)
	least := campaignWork(s.contacts[0])
	done, err := s.postfix.send(ctx, s.sink, most, least.Contacts, s.results.MessageSize)
	if err != nil {
		return err
	}
	s.note(least, smtpSource, done)
	for _, n := range s.contacts {
		if err := s.oneCampaign(ctx, campaignWork(n), s.embedded(n), letterTo(0)); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) oneCampaign(ctx context.Context, w work, env map[string]string, letter client.Campaign) error {
	return s.with(ctx, env, func(running *server) error {
		done, err := running.campaign(ctx, letter, w.Contacts, nil)
		if err == nil {
			s.note(w, wholeCampaign, done)
		}
		return err
	})
}

// load has the API asked while a campaign is sent, and beside it one sent in
// peace.
func (s *suite) load(ctx context.Context) error {
	w := work{Part: partLoad, Connections: most, Contacts: s.loadContacts}
	if err := s.fill(ctx, w.Contacts); err != nil {
		return err
	}
	for range s.rounds {
		err := s.with(ctx, s.embedded(w.Contacts), func(running *server) error {
			done, took, err := running.underLoad(ctx, w.Contacts)
			if err == nil {
				s.note(w, campaignUnderAPI, done)
				s.results.Load = append(s.results.Load, took)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// memoryContacts are enough to keep every connection busy for a while.
const memoryContacts = 4 * most

func memoryWork(attachment int) work {
	return work{Part: partMemory, Connections: most, Attachment: attachment, Contacts: memoryContacts}
}

// memory compares a campaign with a large attachment and one with none.
func (s *suite) memory(ctx context.Context) error {
	if err := s.fill(ctx, memoryContacts); err != nil {
		return err
	}
	for range s.rounds {
		for _, attachment := range []int{0, largest} {
			if err := s.oneCampaign(ctx, memoryWork(attachment), s.embedded(memoryContacts), letterTo(attachment)); err != nil {
				return err
			}
		}
	}
	return nil
}

// startDynamo starts DynamoDB Local on a processor that it does not leave:
// databases have machines of their own, and this one, whose threads hand each
// request on to one another, is half as fast where they wander between
// processors that fall asleep in between.
func (s *suite) startDynamo(ctx context.Context) (func() error, error) {
	cpus := ""
	if runtime.GOOS == "linux" && runtime.NumCPU() > 1 {
		cpus = "0"
	}
	endpoint, stop, err := dynamotest.Run(ctx, cpus)
	s.dynamo = endpoint
	return func() error { return stop(context.WithoutCancel(ctx)) }, err
}

// onDynamoDB is the environment of a service with tables of its own.
func (s *suite) onDynamoDB() map[string]string {
	env := environment(s.sink, most)
	maps.Copy(env, map[string]string{
		"STORE": "dynamodb", "DYNAMODB_ENDPOINT": s.dynamo, "AWS_REGION": region, "CREATE_TABLES": "true",
		"TABLE_PREFIX": tablePrefix(), "ENCRYPTION_KEY": strings.Repeat("A", 43) + "=", // of 32 zeros, in a store that is thrown away
	})
	return env
}

// onDynamo has raw checkpoints and campaigns on DynamoDB Local take turns.
func (s *suite) onDynamo(ctx context.Context) error {
	w := work{Part: partDynamo, Connections: most, Contacts: s.dynamoContacts}
	env := s.onDynamoDB()
	s.dynamoEnv = env
	s.say("Importing %d contacts into DynamoDB Local", w.Contacts)
	err := s.with(ctx, env, func(running *server) error { return running.importContacts(ctx, w.Contacts) })
	if err != nil {
		return err
	}
	for range s.rounds {
		done, err := compete(ctx, spec{Kind: kindDynamo, Addr: s.dynamo, TablePrefix: env["TABLE_PREFIX"], Rows: w.Contacts})
		if err != nil {
			return err
		}
		s.note(w, string(kindDynamo), done)
		if err := s.oneCampaign(ctx, w, env, letterTo(0)); err != nil {
			return err
		}
	}
	return nil
}
