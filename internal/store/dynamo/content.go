package dynamo

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/internal/campaign"
)

// pieceOctets keeps a piece with its keys below the 400 KB of an item.
const pieceOctets = 390_000

// pieceData is the attribute of a piece's octets.
const pieceData = "b"

// contentAudience names the content that holds a large selection. Digests are
// hexadecimal, so none is called so.
const contentAudience = "audience"

// manifest says of how many pieces each content consists.
type manifest map[string]int

// piece is one of the items that content is cut into. Each has a partition key
// of its own: a partition takes 1 MB a second.
type piece struct {
	content string
	number  int
	of      int
	data    []byte
}

func (p piece) key(campaignID string) item {
	return workKey("b#"+campaignID+"#"+p.content+"#"+strconv.Itoa(p.number), "content")
}

func manifestOf(content map[string][]byte) manifest {
	m := manifest{}
	for name, data := range content {
		m[name] = max(1, (len(data)+pieceOctets-1)/pieceOctets)
	}
	return m
}

// pieces lists all pieces of the contents, without data where there is none.
func (m manifest) pieces(content map[string][]byte) []piece {
	var all []piece
	for name, of := range m {
		data := content[name]
		for n := range of {
			end := min(len(data), (n+1)*pieceOctets)
			all = append(all, piece{name, n, of, data[min(len(data), n*pieceOctets):end]})
		}
	}
	return all
}

func (s *Store) putContent(ctx context.Context, campaignID string, content map[string][]byte) error {
	pieces := manifestOf(content).pieces(content)
	return forEach(ctx, len(pieces), func(ctx context.Context, i int) error {
		it := pieces[i].key(campaignID)
		it["n"], it[pieceData] = num(pieces[i].of), bin(pieces[i].data)
		_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(s.work), Item: it})
		if err != nil {
			return call{opPut, s.work}.fail(ctx, err)
		}
		return nil
	})
}

func (s *Store) deleteContent(ctx context.Context, campaignID string, m manifest) error {
	pieces := m.pieces(nil)
	return forEach(ctx, len(pieces), func(ctx context.Context, i int) error {
		_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: aws.String(s.work), Key: pieces[i].key(campaignID),
		})
		if err != nil {
			return call{opDelete, s.work}.fail(ctx, err)
		}
		return nil
	})
}

// GetContent implements store.Campaigns. It reads the first piece, which says
// how many there are, and then the others.
func (s *Store) GetContent(ctx context.Context, campaignID, content string) ([]byte, error) {
	first, err := s.getPiece(ctx, campaignID, piece{content: content})
	if err != nil {
		return nil, err
	}
	parts := make([][]byte, max(1, integer(first["n"])))
	parts[0] = octets(first[pieceData])
	err = forEach(ctx, len(parts)-1, func(ctx context.Context, i int) error {
		it, err := s.getPiece(ctx, campaignID, piece{content: content, number: i + 1})
		parts[i+1] = octets(it[pieceData])
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

func (s *Store) getPiece(ctx context.Context, campaignID string, p piece) (item, error) {
	it, found, err := s.getItem(ctx, s.work, p.key(campaignID))
	if err == nil && !found {
		err = campaign.Errorf(campaign.CodeNotFound, "campaign %s has no content %s, piece %d", campaignID, p.content, p.number)
	}
	return it, err
}
