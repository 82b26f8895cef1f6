package dynamo

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/campaign"
	"postern/internal/store/dynamo/dynamotest"
)

// bare gives a client of the test's DynamoDB Local.
func bare(t *testing.T) *dynamodb.Client {
	t.Helper()
	return patient(t, Config{Endpoint: dynamotest.Endpoint(t)})
}

func TestMissingTables(t *testing.T) {
	t.Parallel()
	prefix := dynamotest.Prefix()
	_, err := Open(t.Context(), Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: prefix})
	wantCode(t, err, campaign.CodeUnavailable)
	for _, name := range []string{TableContacts, TableCampaigns, TableDeliveries, TableWork} {
		wantText(t, err, prefix+name)
	}
	wantText(t, err, "terraform apply", "CREATE_TABLES")

	s := open(t, nil)
	if _, err := s.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String(s.deliveries)}); err != nil {
		t.Fatal(err)
	}
	err = s.Ping(t.Context())
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, s.deliveries)
	if strings.Contains(err.Error(), s.contacts) {
		t.Fatalf("%v names a table that is there", err)
	}
}

func TestForeignTable(t *testing.T) {
	t.Parallel()
	client, prefix := bare(t), dynamotest.Prefix()
	for _, definition := range Tables(prefix) {
		if *definition.TableName == prefix+TableWork { // as somebody else might have made it
			definition = table(prefix+TableWork, partition("id"))
		}
		if _, err := client.CreateTable(t.Context(), &definition); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(t.Context(), Config{Client: client, TablePrefix: prefix})
	wantCode(t, err, campaign.CodeUnavailable)
	wantText(t, err, prefix+TableWork, "keys")
}

// TestCreateTogether: tasks that start at the same time make the tables
// together.
func TestCreateTogether(t *testing.T) {
	t.Parallel()
	c := Config{Endpoint: dynamotest.Endpoint(t), TablePrefix: dynamotest.Prefix(), CreateTables: true}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			s, err := Open(context.WithoutCancel(t.Context()), c)
			if err != nil {
				t.Error(err)
				return
			}
			_ = s.Close()
		})
	}
	group.Wait()

	client := bare(t)
	for _, want := range Tables(c.TablePrefix) {
		out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: want.TableName})
		if err != nil {
			t.Fatal(err)
		}
		if out.Table.BillingModeSummary.BillingMode != types.BillingModePayPerRequest ||
			len(out.Table.KeySchema) != len(want.KeySchema) ||
			len(out.Table.GlobalSecondaryIndexes) != len(want.GlobalSecondaryIndexes) {
			t.Errorf("table %s is %+v", *want.TableName, out.Table)
		}
	}
	ttl, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(c.TablePrefix + TableWork)})
	if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != TTLAttribute {
		t.Fatalf("TTL is %+v, error %v", ttl, err)
	}
}
